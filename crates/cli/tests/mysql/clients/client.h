/* What the clients share: they connect as they are told, do one thing after the other, and end at the first
 * surprise with a sentence and status 1.
 *
 * CLIENT HOST PORT [OPTION…]
 *   compress         the compressed protocol (zlib)
 *   tls1.2, tls1.3   encrypted, with that version
 *   charset=NAME     the connection's character set, utf8mb4 if not said
 *   count=NUMBER     how many, where a client says of what
 *   threads=NUMBER   connections at once, where a client has several
 *   user=NAME        somebody else than `byway`
 *   prepared         the same with prepared statements, where a client can
 *
 * At its end each tells on its standard output how many statements and executions it has sent. With SSLKEYLOGFILE in
 * the environment the secrets of its encrypted connections go there (keylog.c).
 */
#pragma once

#include <mysql.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const PASSWORD = "not-for-the-wire";

typedef struct {
    const char *host;
    unsigned port;
    int compresses;
    int prepares;
    const char *tls;
    const char *charset;
    const char *user;
    long count;
    int threads;
} Options;

/* What was sent so far, over all connections: COM_QUERY, and all forms of EXECUTE. */
static atomic_long queries, executions;

__attribute__((unused)) static void tell_counts(void)
{
    printf("%ld %ld\n", atomic_load(&queries), atomic_load(&executions));
}

__attribute__((format(printf, 1, 2), noreturn, unused)) static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

__attribute__((unused)) static Options options(int argc, char **argv)
{
    if (argc < 3)
        fail("%s HOST PORT [OPTION...]", argv[0]);
    atexit(tell_counts);
    Options found = {.host = argv[1], .port = atoi(argv[2]), .charset = "utf8mb4", .user = "byway", .count = 100, .threads = 1};
    for (int nth = 3; nth < argc; nth++) {
        const char *word = argv[nth];
        if (!strcmp(word, "compress"))
            found.compresses = 1;
        else if (!strcmp(word, "prepared"))
            found.prepares = 1;
        else if (!strcmp(word, "tls1.2"))
            found.tls = "TLSv1.2";
        else if (!strcmp(word, "tls1.3"))
            found.tls = "TLSv1.3";
        else if (!strncmp(word, "charset=", 8))
            found.charset = word + 8;
        else if (!strncmp(word, "user=", 5))
            found.user = word + 5;
        else if (!strncmp(word, "count=", 6))
            found.count = atol(word + 6);
        else if (!strncmp(word, "threads=", 8))
            found.threads = atoi(word + 8);
        else
            fail("%s: no such option: %s", argv[0], word);
    }
    return found;
}

/* Connects to the database `shop`, with two attributes that say who we are. */
__attribute__((unused)) static MYSQL *dial(const Options *told)
{
    MYSQL *db = mysql_init(NULL);
    const unsigned is_never_checked = 0;
    mysql_optionsv(db, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &is_never_checked);
    mysql_optionsv(db, MYSQL_SET_CHARSET_NAME, told->charset);
    mysql_optionsv(db, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "storyteller");
    mysql_optionsv(db, MYSQL_OPT_CONNECT_ATTR_ADD, "shelf", "gr\xc3\xbcn");
    if (told->compresses)
        mysql_optionsv(db, MYSQL_OPT_COMPRESS, NULL);
    const my_bool is_encrypted = told->tls != NULL;
    mysql_optionsv(db, MYSQL_OPT_SSL_ENFORCE, &is_encrypted);
    if (told->tls)
        mysql_optionsv(db, MARIADB_OPT_TLS_VERSION, told->tls);
    const unsigned long flags = CLIENT_MULTI_STATEMENTS | CLIENT_LOCAL_FILES;
    if (!mysql_real_connect(db, told->host, told->user, PASSWORD, "shop", told->port, NULL, flags))
        fail("connect: %s", mysql_error(db));
    return db;
}

/* Reads all results; a failure of the statement must have this number, or 0 for none. */
__attribute__((unused)) static void read_all(MYSQL *db, unsigned expected)
{
    unsigned number = mysql_errno(db);
    while (!number) {
        MYSQL_RES *result = mysql_store_result(db);
        number = mysql_errno(db);
        mysql_free_result(result);
        if (number || mysql_next_result(db) < 0)
            break;
        number = mysql_errno(db);
    }
    if (number != expected)
        fail("%u, not %u: %s", number, expected, mysql_error(db));
}

/* A statement of any bytes. */
__attribute__((unused)) static void say_bytes(MYSQL *db, const char *text, unsigned long length, unsigned expected)
{
    queries++;
    mysql_real_query(db, text, length);
    read_all(db, expected);
}

__attribute__((unused)) static void say(MYSQL *db, const char *text)
{
    say_bytes(db, text, strlen(text), 0);
}

__attribute__((unused)) static void say_wrongly(MYSQL *db, const char *text, unsigned expected)
{
    say_bytes(db, text, strlen(text), expected);
}

__attribute__((unused)) static void must(MYSQL *db, int failed, const char *what)
{
    if (failed)
        fail("%s: %s", what, mysql_error(db));
}

__attribute__((unused)) static void must_stmt(MYSQL_STMT *statement, int failed, const char *what)
{
    if (failed)
        fail("%s: %s", what, mysql_stmt_error(statement));
}

/* A prepared statement. */
__attribute__((unused)) static MYSQL_STMT *prepare(MYSQL *db, const char *text)
{
    MYSQL_STMT *statement = mysql_stmt_init(db);
    must_stmt(statement, mysql_stmt_prepare(statement, text, strlen(text)), text);
    return statement;
}

/* Executes it and fetches every row. */
__attribute__((unused)) static void execute(MYSQL_STMT *statement)
{
    executions++;
    must_stmt(statement, mysql_stmt_execute(statement), "execute");
    do {
        int more = mysql_stmt_field_count(statement) ? 0 : MYSQL_NO_DATA;
        while (more == 0 || more == MYSQL_DATA_TRUNCATED)
            more = mysql_stmt_fetch(statement);
        must_stmt(statement, more == 1, "fetch");
        mysql_stmt_free_result(statement);
    } while (mysql_stmt_more_results(statement) && !mysql_stmt_next_result(statement));
}
