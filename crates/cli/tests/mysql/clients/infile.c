/* LOAD DATA LOCAL INFILE: what is in the file looks like commands, and is none. */
#include "client.h"

static long lines_left;

static int open_it(void **state, const char *name, void *unused)
{
    (void)unused;
    *state = NULL;
    return strcmp(name, "absent") == 0;
}

/* Each piece is one packet; it starts with the byte of COM_QUERY, or with that of COM_QUIT. */
static int read_it(void *state, char *room, unsigned length)
{
    (void)state;
    if (!lines_left)
        return 0;
    const char start = lines_left % 2 ? '\x03' : '\x01';
    return snprintf(room, length, "%cselect %ld from a file\t1.5\n", start, lines_left--);
}

static void end_it(void *state)
{
    (void)state;
}

static int explain_it(void *state, char *room, unsigned length)
{
    (void)state;
    snprintf(room, length, "there is no such file");
    return 2;
}

int main(int argc, char **argv)
{
    const Options told = options(argc, argv);
    MYSQL *db = dial(&told);
    mysql_set_local_infile_handler(db, open_it, read_it, end_it, explain_it, NULL);
    for (long lines = told.count; lines >= 0; lines -= told.count) {
        lines_left = lines;
        say(db, "load data local infile 'orders.tsv' into table orders (what, price)");
    }
    queries++;
    if (!mysql_query(db, "load data local infile 'absent' into table orders (what)"))
        fail("the file is there");
    lines_left = 2;
    say(db, "load data local infile 'orders.tsv' into table orders (what, price); select count(*) from orders");
    say(db, "alter table orders engine=MyISAM, algorithm=copy");
    mysql_close(db);
}
