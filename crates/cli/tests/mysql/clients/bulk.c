/* What only MariaDB has: many rows in one command, and PREPARE with its EXECUTE in one go. */
#include "client.h"

#include <stdint.h>

enum { ROWS = 5 };

static void many_rows(MYSQL *db)
{
    const char *texts[ROWS] = {"one", "two's", "", "never read", "f\xc3\xbcnf"};
    unsigned long lengths[ROWS] = {3, 5, 0, 10, 5};
    char indicators[ROWS] = {STMT_INDICATOR_NONE, STMT_INDICATOR_NONE, STMT_INDICATOR_NONE, STMT_INDICATOR_NULL, STMT_INDICATOR_NONE};
    int32_t prices[ROWS] = {10, -20, 30, 40, 50};
    char price_indicators[ROWS] = {STMT_INDICATOR_NONE, STMT_INDICATOR_NONE, STMT_INDICATOR_DEFAULT, STMT_INDICATOR_NONE, STMT_INDICATOR_NULL};
    MYSQL_BIND binds[] = {
        {.buffer_type = MYSQL_TYPE_STRING, .buffer = texts, .length = lengths, .u.indicator = indicators},
        {.buffer_type = MYSQL_TYPE_LONG, .buffer = prices, .u.indicator = price_indicators},
    };
    unsigned rows = ROWS;
    MYSQL_STMT *statement = prepare(db, "insert into orders (what, price) values (?, ?)");
    mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &rows);
    must_stmt(statement, mysql_stmt_bind_param(statement, binds), "bind");
    execute(statement);
    prices[0] = 11;
    execute(statement);
    rows = 1;
    mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &rows);
    execute(statement);
    mysql_stmt_close(statement);
}

/* IGNORE leaves a column as it is. */
static void ignored(MYSQL *db)
{
    int32_t prices[] = {1, 2}, ids[] = {1, 2};
    char indicators[] = {STMT_INDICATOR_IGNORE, STMT_INDICATOR_NONE};
    MYSQL_BIND binds[] = {
        {.buffer_type = MYSQL_TYPE_LONG, .buffer = prices, .u.indicator = indicators},
        {.buffer_type = MYSQL_TYPE_LONG, .buffer = ids},
    };
    const unsigned rows = 2;
    MYSQL_STMT *statement = prepare(db, "update orders set price = ? where id = ?");
    mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &rows);
    must_stmt(statement, mysql_stmt_bind_param(statement, binds), "bind");
    execute(statement);
    mysql_stmt_close(statement);
}

/* EXECUTE with the id 0xFFFFFFFF is sent before the answer to PREPARE has come. */
static void in_one_go(MYSQL *db)
{
    int32_t number = 42;
    MYSQL_BIND binds[] = {
        {.buffer_type = MYSQL_TYPE_LONG, .buffer = &number},
        {.buffer_type = MYSQL_TYPE_STRING, .buffer = "straight", .buffer_length = 8},
    };
    const unsigned parameters = 2, none = 0;
    MYSQL_STMT *statement = mysql_stmt_init(db);
    mysql_stmt_attr_set(statement, STMT_ATTR_PREBIND_PARAMS, &parameters);
    must_stmt(statement, mysql_stmt_bind_param(statement, binds), "bind");
    executions++;
    must_stmt(statement, mariadb_stmt_execute_direct(statement, "select ? + 1, ?", 15), "execute direct");
    mysql_stmt_store_result(statement);
    mysql_stmt_free_result(statement);
    number = 43;
    execute(statement);
    mysql_stmt_close(statement);
    statement = mysql_stmt_init(db);
    mysql_stmt_attr_set(statement, STMT_ATTR_PREBIND_PARAMS, &none);
    executions++;
    must_stmt(statement, mariadb_stmt_execute_direct(statement, "do 7", 4), "execute direct");
    mysql_stmt_close(statement);
    statement = mysql_stmt_init(db);
    if (!mariadb_stmt_execute_direct(statement, "select nonsense from nowhere", 28))
        fail("there is a table nowhere");
    mysql_stmt_close(statement);
}

int main(int argc, char **argv)
{
    const Options told = options(argc, argv);
    MYSQL *db = dial(&told);
    many_rows(db);
    ignored(db);
    in_one_go(db);
    say(db, "select 'still in step'");
    mysql_close(db);
}
