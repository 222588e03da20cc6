/* Asks the server for what libmariadb never asks for, and the newer clients of MySQL always: answers without EOF packets
 * (CLIENT_DEPRECATE_EOF), and OK packets that tell what has changed in the session (CLIENT_SESSION_TRACK).
 *
 * It hardly reads: commands are sent together, and the server answers them in its own time. Where it must know what an
 * answer is, it asks for the statistics first, whose answer is like no other. So it needs a user without a password.
 *
 * CLIENT HOST PORT; it tells what it has sent as the others do. */
#define _GNU_SOURCE
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    /* CLIENT_LONG_PASSWORD, LONG_FLAG, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, MULTI_STATEMENTS,
     * MULTI_RESULTS, PS_MULTI_RESULTS, PLUGIN_AUTH */
    USUAL = 0x000fa20d,
    SESSION_TRACK = 0x00800000,
    DEPRECATE_EOF = 0x01000000,
    UTF8MB4_GENERAL_CI = 45,
    COM_QUIT = 1,
    COM_INIT_DB = 2,
    COM_QUERY = 3,
    COM_STATISTICS = 9,
    COM_PREPARE = 22,
    COM_EXECUTE = 23,
    COM_CLOSE = 25,
    COM_RESET = 31,
    COM_FETCH = 28,
    READ_ONLY_CURSOR = 1,
    TYPE_LONG = 3,
};

static int server;
static long queries, executions;
static uint8_t room[1 << 16];
static size_t filled;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void put(const void *bytes, size_t length)
{
    memcpy(room + filled, bytes, length);
    filled += length;
}

static void put_number(uint32_t number, int bytes)
{
    for (; bytes; bytes--, number >>= 8)
        put(&(uint8_t){number & 0xff}, 1);
}

/* A packet of these bytes. */
static void put_packet(uint8_t sequence, const void *body, size_t length)
{
    put_number(length, 3);
    put_number(sequence, 1);
    put(body, length);
}

static void command(uint8_t kind, const char *argument, size_t length)
{
    uint8_t body[4096] = {kind};
    memcpy(body + 1, argument, length);
    put_packet(0, body, length + 1);
}

static void send_all(void)
{
    for (size_t sent = 0; sent < filled;) {
        const ssize_t more = write(server, room + sent, filled - sent);
        if (more <= 0)
            fail("send");
        sent += more;
    }
    filled = 0;
}

static void read_exactly(uint8_t *bytes, size_t length)
{
    for (size_t taken = 0; taken < length;) {
        const ssize_t more = read(server, bytes + taken, length - taken);
        if (more <= 0)
            fail("read");
        taken += more;
    }
}

/* The next packet's body. */
static const uint8_t *read_packet(void)
{
    static uint8_t body[(1 << 16) + 1];
    uint8_t head[4];
    read_exactly(head, sizeof head);
    const size_t length = head[0] | head[1] << 8;
    if (head[2])
        fail("a packet that is too long");
    read_exactly(body, length);
    body[length] = 0;
    return body;
}

/* Prepares a statement; its id. */
static uint32_t prepare(const char *text)
{
    command(COM_STATISTICS, "", 0);
    send_all();
    while (strncmp((const char *)read_packet(), "Uptime", 6))
        continue;
    command(COM_PREPARE, text, strlen(text));
    send_all();
    const uint8_t *const answer = read_packet();
    return answer[1] | answer[2] << 8 | answer[3] << 16 | (uint32_t)answer[4] << 24;
}

static void say(const char *text)
{
    queries++;
    command(COM_QUERY, text, strlen(text));
}

/* With one parameter, a whole number. */
static void execute(uint32_t id, uint8_t cursor, uint8_t value)
{
    executions++;
    const uint8_t body[] = {COM_EXECUTE, id, id >> 8, id >> 16, id >> 24, cursor, 1, 0, 0, 0, 0, 1, TYPE_LONG, 0, value, 0, 0, 0};
    put_packet(0, body, sizeof body);
}

static void fetch(uint32_t id, uint8_t rows)
{
    const uint8_t body[] = {COM_FETCH, id, id >> 8, id >> 16, id >> 24, rows, 0, 0, 0};
    put_packet(0, body, sizeof body);
}

static void forget(uint32_t id)
{
    const uint8_t body[] = {COM_CLOSE, id, id >> 8, id >> 16, id >> 24};
    put_packet(0, body, sizeof body);
}

static void put_login(void)
{
    static const char names[] = "bare\0\0shop\0mysql_native_password";
    const uint32_t length = 32 + sizeof names;
    put_number(length, 3);
    put_number(1, 1);
    put_number(USUAL | SESSION_TRACK | DEPRECATE_EOF, 4);
    put_number(1 << 24, 4);
    put_number(UTF8MB4_GENERAL_CI, 1);
    memset(room + filled, 0, 23);
    filled += 23;
    put(names, sizeof names);
}

static void put_commands(void)
{
    say("select 1");
    say("select seq, '', null, repeat('r', 300) from seq_1_to_5");
    say("select seq from seq_1_to_5 where seq > 5");
    say("insert into orders (what, price) values ('new', 1), ('newer', 2)");
    say("update orders set price = 3");
    say("select nonsense from nowhere");
    say("select 1, 2; do 3; select ''; select nonsense from nowhere; select 4");
    say("use mysql");
    command(COM_INIT_DB, "shop", 4);
    say("set names latin1, autocommit = 0");
    say("set autocommit = 1");
    const uint32_t rows = prepare("select seq, ? from seq_1_to_9");
    execute(rows, 0, 7);
    execute(rows, READ_ONLY_CURSOR, 8);
    fetch(rows, 5);
    say("select 'between two fetches'");
    fetch(rows, 5);
    const uint32_t nothing = prepare("do 1 + ?");
    execute(nothing, 0, 9);
    forget(rows);
    command(COM_PREPARE, "select ? from nowhere", 21);
    command(COM_RESET, "", 0);
    say("select 'the end'");
    command(COM_QUIT, "", 0);
}

int main(int argc, char **argv)
{
    struct addrinfo *found, wanted = {.ai_socktype = SOCK_STREAM};
    if (argc != 3 || getaddrinfo(argv[1], argv[2], &wanted, &found))
        fail("HOST PORT");
    server = socket(found->ai_family, SOCK_STREAM, 0);
    if (server < 0 || connect(server, found->ai_addr, found->ai_addrlen))
        fail("connect");
    read_packet();
    put_login();
    send_all();
    read_packet();
    put_commands();
    send_all();
    ssize_t taken;
    while ((taken = read(server, room, sizeof room)) > 0)
        continue;
    if (taken < 0)
        fail("read");
    printf("%ld %ld\n", queries, executions);
}
