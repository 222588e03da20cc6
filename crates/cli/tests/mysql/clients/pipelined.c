/* Statements are sent before the answers to those before them have come. */
#include "client.h"

int main(int argc, char **argv)
{
    const Options told = options(argc, argv);
    MYSQL *db = dial(&told);
    const int together = 20;
    for (long sent = 0; sent < told.count; sent += together) {
        for (int nth = 0; nth < together; nth++) {
            char text[200];
            const int length = snprintf(text, sizeof text, "select %ld, repeat('p', %d) /* of %d */", sent + nth, nth * nth * 10, together);
            queries++;
            must(db, mysql_send_query(db, text, length), "send");
        }
        for (int nth = 0; nth < together; nth++) {
            must(db, mysql_read_query_result(db), "read");
            mysql_free_result(mysql_store_result(db));
        }
    }
    mysql_close(db);
}
