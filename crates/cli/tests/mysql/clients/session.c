/* Every command that is not about prepared statements, and statements that are hard to print. */
#include "client.h"

static void statements(MYSQL *db)
{
    say(db, "select 1");
    say(db, "select 'Gr\xc3\xbc\xc3\x9f" "e', '\xe2\x82\xac', '\xf0\x9f\x90\xa2'");
    say(db, "select *\n  from orders\n\twhere id = 1 -- why\r\n  and what is not null");
    say(db, "select 'a\\nb', 'a\nb', \"it's\", 'it''s', '\\\\', '\t', '\x1b[31mred\x1b[0m\x07\x7f'");
    say(db, "insert into orders (what, price, made) values ('tea', 2.50, '2024-02-29 12:00:00'), (null, -0.01, null)");
    say(db, "update orders set price = price + 1 where what = 'tea'");
    say(db, "select id, what, price, made, null, '' from orders union all select 0, '', 0, null, 1, 'x'");
    say(db, "delete from orders");
    say(db, "/* only a comment */ select 2 /* and another */");
    static const char with_nul[] = "select 'nul \0 inside', 1";
    say_bytes(db, with_nul, sizeof with_nul - 1, 0);
    say(db, "select '\xff\xfe not \xc3 text'");
    say_wrongly(db, "", 1065);
    say_wrongly(db, "x", 1064);
    say_wrongly(db, "select nonsense from nowhere", 1146);
    say_wrongly(db, "select", 1064);
    say_wrongly(db, "signal sqlstate '45000' set message_text = 'ours, \xc3\xa4 or not'", 1644);
}

/* The server takes spaces and semicolons off the ends before it looks at anything: its log has none of them. */
static void ends(MYSQL *db)
{
    say(db, "  select 5 ; \n ");
    say(db, "select 6;");
    say(db, "select 7;;  ");
    say(db, "\n\tselect 8");
    say(db, "select 1;select 2;");
    say_wrongly(db, "   ", 1065);
}

static void several_results(MYSQL *db)
{
    say(db, "select 1; select 2; do 3;select 4");
    say_wrongly(db, "select 1; select nonsense from nowhere; select 3", 1146);
    say(db, "create procedure twice(in of int) begin select of; select of + 1, 'x'; end");
    say(db, "call twice(20)");
    say(db, "drop procedure twice");
}

static void commands(MYSQL *db)
{
    must(db, mysql_ping(db), "ping");
    must(db, mysql_stat(db) == NULL, "statistics");
    must(db, mysql_select_db(db, "mysql"), "init db");
    must(db, mysql_select_db(db, "shop"), "init db");
    if (!mysql_select_db(db, "nowhere"))
        fail("there is a database nowhere");
    mysql_free_result(mysql_list_fields(db, "orders", "%"));
    mysql_free_result(mysql_list_fields(db, "orders", "wh%"));
    mysql_free_result(mysql_list_processes(db));
    must(db, mysql_set_server_option(db, MYSQL_OPTION_MULTI_STATEMENTS_OFF), "option off");
    say_wrongly(db, "select 1; select 2", 1064);
    must(db, mysql_set_server_option(db, MYSQL_OPTION_MULTI_STATEMENTS_ON), "option on");
    must(db, mysql_refresh(db, REFRESH_STATUS), "refresh");
    must(db, mysql_dump_debug_info(db), "debug");
    must(db, mysql_reset_connection(db), "reset");
    say(db, "select 'after the reset'");
    must(db, mysql_change_user(db, "other", PASSWORD, "mysql"), "change user");
    say(db, "select user(), database()");
    if (!mysql_change_user(db, "other", "wrong", "mysql"))
        fail("a wrong password is taken");
}

static void a_wrong_login(const Options *told)
{
    MYSQL *db = mysql_init(NULL);
    if (mysql_real_connect(db, told->host, "nobody", "wrong", NULL, told->port, NULL, 0))
        fail("nobody is let in");
    mysql_close(db);
}

/* One connection kills the other, whose statement stays without an answer or ends with an error. It stands in the
 * log only if the server has begun with it, so that is waited for. */
static void a_kill(const Options *told)
{
    MYSQL *victim = dial(told), *killer = dial(told);
    queries++;
    mysql_send_query(victim, "select sleep(100)", 17);
    char question[200];
    const int length = snprintf(question, sizeof question,
                                "select 1 from information_schema.processlist where id = %lu and state = 'User sleep'",
                                mysql_thread_id(victim));
    for (my_ulonglong found = 0; !found;) {
        queries++;
        must(killer, mysql_real_query(killer, question, length), question);
        MYSQL_RES *result = mysql_store_result(killer);
        found = mysql_num_rows(result);
        mysql_free_result(result);
    }
    queries++;
    must(killer, mysql_kill(killer, mysql_thread_id(victim)), "kill");
    if (!mysql_read_query_result(victim))
        mysql_free_result(mysql_store_result(victim));
    mysql_close(victim);
    mysql_close(killer);
}

int main(int argc, char **argv)
{
    const Options told = options(argc, argv);
    MYSQL *db = dial(&told);
    statements(db);
    ends(db);
    several_results(db);
    commands(db);
    mysql_close(db);
    a_wrong_login(&told);
    a_kill(&told);
}
