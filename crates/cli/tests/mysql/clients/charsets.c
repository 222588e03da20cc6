/* Texts in the connection's character set, which changes on the way. */
#include "client.h"

static void set(MYSQL *db, const char *charset)
{
    queries++;
    must(db, mysql_set_character_set(db, charset), charset);
}

int main(int argc, char **argv)
{
    const Options told = options(argc, argv);
    MYSQL *db = dial(&told);
    say(db, "select 'as it was told at the start'");
    set(db, "latin1");
    say(db, "select 'Gr\xfc\xdf" "e f\xfcr 5 \x80'");
    /* The second byte of some characters is 0x5c, the backslash. */
    set(db, "gbk");
    say(db, "select '\xd5\x5c', '\xc4\xe3\xba\xc3'");
    set(db, "sjis");
    say(db, "select '\x83\x5c\x95\x5c', '\x82\xa0'");
    set(db, "cp1251");
    say(db, "select '\xcf\xf0\xe8\xe2\xe5\xf2'");
    set(db, "euckr");
    say(db, "select '\xb0\xa1'");
    set(db, "big5");
    say(db, "select '\xa5\x5c'");
    set(db, "utf8mb3");
    say(db, "select '\xe2\x82\xac'");
    set(db, "utf8mb4");
    say(db, "select '\xf0\x9f\x90\xa2'");
    must(db, mysql_reset_connection(db), "reset");
    say(db, "set names latin1");
    say(db, "select '\xfc', _utf8mb4'\xc3\xbc'");
    say(db, "set character set koi8r");
    say(db, "select '\xf0\xd2\xc9'");
    must(db, mysql_change_user(db, "other", PASSWORD, "shop"), "change user");
    say(db, "select 'Gr\xc3\xbc\xc3\x9f" "e'");
    mysql_close(db);
}
