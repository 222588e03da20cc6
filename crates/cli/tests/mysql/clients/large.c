/* Statements around and over 16 MiB less 1, where a packet ends and the next one goes on; and a parameter as long. */
#include "client.h"

#include <string.h>

static const unsigned long PACKET_MOST = 0xffffff;

/* A statement with so many bytes altogether. */
static void say_long(MYSQL *db, unsigned long length)
{
    static const char start[] = "select length('", end[] = "')";
    char *text = malloc(length);
    memset(text, 'x', length);
    memcpy(text, start, sizeof start - 1);
    memcpy(text + length - (sizeof end - 1), end, sizeof end - 1);
    say_bytes(db, text, length, 0);
    free(text);
}

int main(int argc, char **argv)
{
    const Options told = options(argc, argv);
    MYSQL *db = dial(&told);
    say(db, "select 'before'");
    /* One byte of a packet is the command. */
    say_long(db, PACKET_MOST - 2);
    say_long(db, PACKET_MOST - 1);
    say_long(db, PACKET_MOST);
    say_long(db, 2 * PACKET_MOST - 1);
    say_long(db, 2 * PACKET_MOST + 1000);
    say(db, "select repeat('answer', 3000000), 'behind it'");
    say(db, "select repeat('y', 16777215 - 4), 1 union select 'short', 2");
    char *value = malloc(PACKET_MOST + 5);
    memset(value, 'z', PACKET_MOST + 5);
    MYSQL_BIND one = {.buffer_type = MYSQL_TYPE_BLOB, .buffer = value, .buffer_length = PACKET_MOST + 5};
    MYSQL_STMT *statement = prepare(db, "select length(?)");
    must_stmt(statement, mysql_stmt_bind_param(statement, &one), "bind");
    execute(statement);
    mysql_stmt_close(statement);
    free(value);
    say(db, "select 'after'");
    mysql_close(db);
}
