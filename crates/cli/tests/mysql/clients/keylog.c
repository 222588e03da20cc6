/* Writes the secrets of encrypted connections to $SSLKEYLOGFILE, as Wireshark and browsers know it: libmariadb does
 * not, but it asks OpenSSL for its contexts, and finds this SSL_CTX_new first. OpenSSL's own part of it is found by
 * name, so that nothing of it is needed to build. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef void *make_context(const void *method);
typedef void on_secret(const void *connection, const char *line);
typedef void set_callback(void *context, on_secret *callback);

static void write_down(const void *connection, const char *line)
{
    (void)connection;
    FILE *file = fopen(getenv("SSLKEYLOGFILE"), "a");
    if (!file)
        abort();
    fprintf(file, "%s\n", line);
    fclose(file);
}

void *SSL_CTX_new(const void *method);

void *SSL_CTX_new(const void *method)
{
    make_context *const make = (make_context *)dlsym(RTLD_NEXT, "SSL_CTX_new");
    set_callback *const set = (set_callback *)dlsym(RTLD_NEXT, "SSL_CTX_set_keylog_callback");
    void *const context = make(method);
    if (context && getenv("SSLKEYLOGFILE"))
        set(context, write_down);
    return context;
}
