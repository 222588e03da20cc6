/* Prepared statements: every type, NULL, dates, long data, cursors, types that are not sent again. */
#include "client.h"

#include <stdint.h>

enum { COLUMNS = 16 };

static MYSQL_BIND bind_of(enum enum_field_types type, void *value, unsigned long length)
{
    return (MYSQL_BIND){.buffer_type = type, .buffer = value, .buffer_length = length};
}

static MYSQL_BIND bind_text(const char *text)
{
    return bind_of(MYSQL_TYPE_STRING, (void *)text, strlen(text));
}

static MYSQL_BIND bind_null(void)
{
    return bind_of(MYSQL_TYPE_NULL, NULL, 0);
}

static void bind(MYSQL_STMT *statement, MYSQL_BIND *binds)
{
    must_stmt(statement, mysql_stmt_bind_param(statement, binds), "bind");
}

static void whole_numbers(MYSQL *db)
{
    int8_t tiny = -128;
    int16_t small = -32768;
    int32_t usual = -2147483647;
    int64_t big = INT64_MIN;
    uint8_t tiny_most = 255;
    uint16_t small_most = 65535;
    uint32_t usual_most = 4294967295;
    uint64_t big_most = UINT64_MAX;
    MYSQL_BIND binds[] = {
        bind_of(MYSQL_TYPE_TINY, &tiny, 0),       bind_of(MYSQL_TYPE_SHORT, &small, 0),
        bind_of(MYSQL_TYPE_LONG, &usual, 0),      bind_of(MYSQL_TYPE_LONGLONG, &big, 0),
        bind_of(MYSQL_TYPE_TINY, &tiny_most, 0),  bind_of(MYSQL_TYPE_SHORT, &small_most, 0),
        bind_of(MYSQL_TYPE_LONG, &usual_most, 0), bind_of(MYSQL_TYPE_LONGLONG, &big_most, 0),
    };
    for (int nth = 4; nth < 8; nth++)
        binds[nth].is_unsigned = 1;
    MYSQL_STMT *statement = prepare(db, "select ?, ?, ?, ?, ?, ?, ?, ?");
    bind(statement, binds);
    execute(statement);
    tiny = 0, small = 1, usual = -1, big = 42;
    execute(statement);
    mysql_stmt_close(statement);
}

static void broken_numbers(MYSQL *db)
{
    float single = 1.5F, singles[] = {0.1F, -3.4028235e38F, 1e-38F, 0.0F, -0.0F, 16777216.0F};
    double twice = 1.5, twices[] = {0.1, -1.7976931348623157e308, 5e-324, 0.0, -0.0, 1e15};
    MYSQL_BIND binds[] = {bind_of(MYSQL_TYPE_FLOAT, &single, 0), bind_of(MYSQL_TYPE_DOUBLE, &twice, 0),
                          bind_of(MYSQL_TYPE_NEWDECIMAL, "-12345678901234567890.0123456789", 32)};
    MYSQL_STMT *statement = prepare(db, "select ?, ?, ?");
    bind(statement, binds);
    execute(statement);
    for (int nth = 0; nth < 6; nth++) {
        single = singles[nth], twice = twices[nth];
        execute(statement);
    }
    mysql_stmt_close(statement);
}

static void texts(MYSQL *db)
{
    const char *given[] = {"plain", "", "it's \"quoted\" \\ and\n\ttabbed\r\x1a", "Gr\xc3\xbc\xc3\x9f" "e \xf0\x9f\x90\xa2", "?"};
    MYSQL_STMT *statement = prepare(db, "select ? as '?', ? /* ? */, \"?\"");
    for (int nth = 0; nth < 5; nth++) {
        MYSQL_BIND binds[] = {bind_text(given[nth]), bind_of(MYSQL_TYPE_BLOB, "b\0\xff'", 4)};
        bind(statement, binds);
        execute(statement);
    }
    mysql_stmt_close(statement);
    char long_one[70000];
    memset(long_one, 'w', sizeof long_one);
    const unsigned long lengths[] = {250, 251, 65535, 65536, 70000};
    statement = prepare(db, "select length(?)");
    for (int nth = 0; nth < 5; nth++) {
        MYSQL_BIND one = bind_of(MYSQL_TYPE_VAR_STRING, long_one, lengths[nth]);
        bind(statement, &one);
        execute(statement);
    }
    mysql_stmt_close(statement);
}

static void dates(MYSQL *db)
{
    MYSQL_TIME day = {.year = 2024, .month = 2, .day = 29, .time_type = MYSQL_TIMESTAMP_DATE};
    MYSQL_TIME moment = {.year = 1999, .month = 12, .day = 31, .hour = 23, .minute = 59, .second = 58, .time_type = MYSQL_TIMESTAMP_DATETIME};
    MYSQL_TIME exact = moment, midnight = day, nothing = {.time_type = MYSQL_TIMESTAMP_DATETIME};
    exact.second_part = 123456;
    midnight.time_type = MYSQL_TIMESTAMP_DATETIME;
    MYSQL_TIME span = {.neg = 1, .day = 3, .hour = 4, .minute = 5, .second = 6, .time_type = MYSQL_TIMESTAMP_TIME};
    MYSQL_TIME short_span = {.hour = 1, .second = 1, .second_part = 5, .time_type = MYSQL_TIMESTAMP_TIME};
    MYSQL_TIME no_span = {.time_type = MYSQL_TIMESTAMP_TIME};
    MYSQL_BIND binds[] = {
        bind_of(MYSQL_TYPE_DATE, &day, 0),          bind_of(MYSQL_TYPE_DATETIME, &moment, 0),
        bind_of(MYSQL_TYPE_TIMESTAMP, &exact, 0),   bind_of(MYSQL_TYPE_DATETIME, &midnight, 0),
        bind_of(MYSQL_TYPE_DATETIME, &nothing, 0),  bind_of(MYSQL_TYPE_TIME, &span, 0),
        bind_of(MYSQL_TYPE_TIME, &short_span, 0),   bind_of(MYSQL_TYPE_TIME, &no_span, 0),
    };
    MYSQL_STMT *statement = prepare(db, "select ?, ?, ?, ?, ?, ?, ?, ?");
    bind(statement, binds);
    execute(statement);
    mysql_stmt_close(statement);
}

/* More parameters than one byte of the NULL bitmap has bits, some NULL by their type, some by their indicator. */
static void nulls(MYSQL *db)
{
    int32_t number = 7;
    my_bool is_null = 1;
    MYSQL_BIND binds[COLUMNS];
    for (int nth = 0; nth < COLUMNS; nth++) {
        binds[nth] = nth % 3 == 0 ? bind_null() : bind_of(MYSQL_TYPE_LONG, &number, 0);
        if (nth % 5 == 1)
            binds[nth].is_null = &is_null;
    }
    MYSQL_STMT *statement = prepare(db, "select ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?");
    bind(statement, binds);
    execute(statement);
    is_null = 0;
    execute(statement);
    mysql_stmt_close(statement);
}

static void long_data(MYSQL *db)
{
    MYSQL_BIND binds[] = {bind_text("the photo"), bind_of(MYSQL_TYPE_BLOB, NULL, 0), bind_text("1.25")};
    MYSQL_STMT *statement = prepare(db, "insert into orders (what, photo, price) values (?, ?, ?)");
    bind(statement, binds);
    for (int nth = 0; nth < 3; nth++)
        must_stmt(statement, mysql_stmt_send_long_data(statement, 1, "piece by piece, ", 16), "long data");
    execute(statement);
    must_stmt(statement, mysql_stmt_send_long_data(statement, 1, "forgotten", 9), "long data");
    must_stmt(statement, mysql_stmt_reset(statement), "reset");
    must_stmt(statement, mysql_stmt_send_long_data(statement, 1, "'; drop table orders", 20), "long data");
    execute(statement);
    mysql_stmt_close(statement);
}

/* The rows come with FETCH, some at a time, with other statements in between. */
static void cursor(MYSQL *db)
{
    int32_t least = 3;
    MYSQL_BIND one = bind_of(MYSQL_TYPE_LONG, &least, 0);
    const unsigned long kind = CURSOR_TYPE_READ_ONLY, rows = 4;
    MYSQL_STMT *statement = prepare(db, "select seq, repeat('r', seq) from seq_1_to_30 where seq >= ?");
    mysql_stmt_attr_set(statement, STMT_ATTR_CURSOR_TYPE, &kind);
    mysql_stmt_attr_set(statement, STMT_ATTR_PREFETCH_ROWS, &rows);
    bind(statement, &one);
    executions++;
    must_stmt(statement, mysql_stmt_execute(statement), "execute");
    for (int nth = 0; nth < 10; nth++)
        must_stmt(statement, mysql_stmt_fetch(statement) == 1, "fetch");
    say(db, "select 'between two fetches'");
    while (mysql_stmt_fetch(statement) == 0)
        continue;
    mysql_stmt_free_result(statement);
    execute(statement);
    mysql_stmt_close(statement);
}

/* Texts of a statement lose their ends as well. */
static void ends(MYSQL *db)
{
    MYSQL_BIND one = bind_text("end");
    MYSQL_STMT *statement = prepare(db, " \n select ? ; ");
    bind(statement, &one);
    execute(statement);
    mysql_stmt_close(statement);
}

static void failures(MYSQL *db)
{
    MYSQL_STMT *statement = mysql_stmt_init(db);
    if (!mysql_stmt_prepare(statement, "select ? from nowhere", 21))
        fail("there is a table nowhere");
    mysql_stmt_close(statement);
    MYSQL_BIND one = bind_text("9");
    statement = prepare(db, "insert into strict_ones (id) values (?)");
    bind(statement, &one);
    execute(statement);
    executions++;
    if (!mysql_stmt_execute(statement) || mysql_stmt_errno(statement) != 1062)
        fail("the same key twice: %s", mysql_stmt_error(statement));
    mysql_stmt_close(statement);
}

/* Two of them open at once, one with two results, and one that a reset takes away. */
static void several(MYSQL *db)
{
    int32_t first_value = 1, second_value = 2;
    MYSQL_BIND first_bind = bind_of(MYSQL_TYPE_LONG, &first_value, 0), second_bind = bind_of(MYSQL_TYPE_LONG, &second_value, 0);
    MYSQL_STMT *first = prepare(db, "select ? + 100"), *second = prepare(db, "select ? + 200");
    bind(first, &first_bind);
    bind(second, &second_bind);
    execute(second);
    execute(first);
    second_value = 3;
    execute(second);
    mysql_stmt_close(first);
    mysql_stmt_close(second);
    say(db, "create procedure both_of(in one int) begin select one; select one * 2; end");
    MYSQL_STMT *called = prepare(db, "call both_of(?)");
    bind(called, &first_bind);
    execute(called);
    mysql_stmt_close(called);
    say(db, "drop procedure both_of");
    MYSQL_STMT *without = prepare(db, "select 'no parameter'");
    execute(without);
    must(db, mysql_reset_connection(db), "reset");
    mysql_stmt_close(without);
}

int main(int argc, char **argv)
{
    const Options told = options(argc, argv);
    MYSQL *db = dial(&told);
    say(db, "create or replace table strict_ones (id int primary key)");
    whole_numbers(db);
    broken_numbers(db);
    texts(db);
    dates(db);
    nulls(db);
    long_data(db);
    cursor(db);
    ends(db);
    failures(db);
    several(db);
    mysql_close(db);
}
