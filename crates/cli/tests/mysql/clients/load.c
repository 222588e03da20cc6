/* Many connections at once: a mix of statements, the same for the same numbers. With `count=` for all together. */
#include "client.h"

#include <pthread.h>
#include <stdint.h>

typedef struct {
    const Options *told;
    int nth;
    long count;
} Part;

/* The statements of an ordinary program, made of the two numbers that say which one it is: its answer has 2 KB, taken
 * all together. */
static int text_of(char *room, size_t length, int nth, long sent)
{
    const long mix = (nth * 1000003L + sent * 7919L) % 1000;
    switch (sent % 10) {
    case 0:
        return snprintf(room, length, "insert into orders (what, price, made) values ('order %d-%ld', %ld.%02ld, '2024-%02ld-01 08:00:00')", nth, sent, mix, mix % 100, mix % 12 + 1);
    case 1:
        return snprintf(room, length, "update orders set price = price + %ld where id = %ld /* %d */", mix % 7, mix + 1, nth);
    case 2:
        return snprintf(room, length, "select seq, repeat('row %d ', 20), seq * %ld from seq_1_to_%ld", nth, mix, mix % 200 + 1);
    case 3:
        return snprintf(room, length, "select sum(price), count(*) from orders where id between %ld and %ld and what like '%%%d%%'", mix, mix + 20, nth);
    case 4:
        return snprintf(room, length, "select '%0*d' as padding, %ld", (int)(mix + 1), nth, sent);
    default:
        return snprintf(room, length, "select id, what, price, made, repeat('-', 700) from orders where id = %ld and %d = %d", mix + 1, nth, nth);
    }
}

static void say_texts(MYSQL *db, const Part *part)
{
    char text[4096];
    for (long sent = 0; sent < part->count; sent++)
        say_bytes(db, text, text_of(text, sizeof text, part->nth, sent), 0);
}

/* The same few statements again and again, with other parameters. */
static void execute_some(MYSQL *db, const Part *part)
{
    int32_t id = 0;
    char what[64];
    unsigned long length = 0;
    MYSQL_BIND by_id[] = {{.buffer_type = MYSQL_TYPE_LONG, .buffer = &id}};
    MYSQL_BIND row[] = {{.buffer_type = MYSQL_TYPE_STRING, .buffer = what, .buffer_length = sizeof what, .length = &length},
                        {.buffer_type = MYSQL_TYPE_LONG, .buffer = &id}};
    MYSQL_STMT *select = prepare(db, "select id, what, price, made, repeat('-', 1800) from orders where id = ?");
    MYSQL_STMT *insert = prepare(db, "insert into orders (what, price) values (?, ?)");
    mysql_stmt_bind_param(select, by_id);
    mysql_stmt_bind_param(insert, row);
    for (long sent = 0; sent < part->count; sent++) {
        id = (part->nth * 1000003L + sent * 7919L) % 1000;
        length = snprintf(what, sizeof what, "order %d-%ld", part->nth, sent);
        execute(sent % 10 ? select : insert);
    }
    mysql_stmt_close(select);
    mysql_stmt_close(insert);
}

static void *work(void *given)
{
    const Part *part = given;
    mysql_thread_init();
    MYSQL *db = dial(part->told);
    (part->told->prepares ? execute_some : say_texts)(db, part);
    mysql_close(db);
    mysql_thread_end();
    return NULL;
}

int main(int argc, char **argv)
{
    const Options told = options(argc, argv);
    pthread_t *threads = calloc(told.threads, sizeof *threads);
    Part *parts = calloc(told.threads, sizeof *parts);
    mysql_library_init(0, NULL, NULL);
    for (int nth = 0; nth < told.threads; nth++) {
        parts[nth] = (Part){&told, nth, told.count / told.threads};
        if (pthread_create(&threads[nth], NULL, work, &parts[nth]))
            fail("start a thread");
    }
    for (int nth = 0; nth < told.threads; nth++)
        pthread_join(threads[nth], NULL);
    free(threads);
    free(parts);
}
