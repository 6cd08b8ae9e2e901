/* What the load client was asked to do: plain `--name value` pairs, nothing optional left unsaid. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum reuse { KEEP_ALIVE, FULL_HANDSHAKE, RESUMED_HANDSHAKE };

struct options {
    int port, connections, expect;
    double warmup, seconds, rate;       /* seconds; requests per second, 0: as many as go */
    enum reuse reuse;
    bool plain, once, idle;             /* no TLS; each token once; one request a connection, then hold */
    long first, limit, requests;        /* the slice of tokens; stop after so many measured requests */
    unsigned long long upload;          /* bytes of body, 0: GET */
    const char *certificate, *tokens, *proofs, *path;    /* proofs: one a request, none twice (RFC 9449) */
    const char *form;                   /* what is posted as a form, a token beside it or, for `-`, none */
};

static void usage(const char *why) {
    fprintf(stderr, "load: %s\n", why);
    exit(2);
}

static const char *content_of(const char *path) {
    static char content[8192];
    FILE *file = fopen(path, "r");
    if (!file) usage("--form cannot be read");
    content[fread(content, 1, sizeof content - 1, file)] = 0;
    fclose(file);
    return content;
}

static enum reuse reuse_of(const char *word) {
    if (!strcmp(word, "keep-alive")) return KEEP_ALIVE;
    if (!strcmp(word, "full")) return FULL_HANDSHAKE;
    if (!strcmp(word, "resumed")) return RESUMED_HANDSHAKE;
    usage("--reuse is keep-alive, full or resumed");
    return KEEP_ALIVE;
}

static struct options read_options(int argc, char **argv) {
    struct options o = {.connections = 32, .expect = 200, .seconds = 5, .path = "/accounts/1"};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--port")) o.port = atoi(value);
        else if (!strcmp(name, "--connections")) o.connections = atoi(value);
        else if (!strcmp(name, "--expect")) o.expect = atoi(value);
        else if (!strcmp(name, "--warmup")) o.warmup = atof(value);
        else if (!strcmp(name, "--seconds")) o.seconds = atof(value);
        else if (!strcmp(name, "--rate")) o.rate = atof(value);
        else if (!strcmp(name, "--reuse")) o.reuse = reuse_of(value);
        else if (!strcmp(name, "--plain")) o.plain = atoi(value);
        else if (!strcmp(name, "--once")) o.once = atoi(value);
        else if (!strcmp(name, "--idle")) o.idle = atoi(value);
        else if (!strcmp(name, "--first")) o.first = atol(value);
        else if (!strcmp(name, "--limit")) o.limit = atol(value);
        else if (!strcmp(name, "--requests")) o.requests = atol(value);
        else if (!strcmp(name, "--upload")) o.upload = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--form")) o.form = content_of(value);
        else if (!strcmp(name, "--certificate")) o.certificate = value;
        else if (!strcmp(name, "--tokens")) o.tokens = value;
        else if (!strcmp(name, "--proofs")) o.proofs = value;
        else if (!strcmp(name, "--path")) o.path = value;
        else usage(name);
    }
    if (argc % 2 == 0) usage("every option has a value");
    if (!o.port || !o.tokens || (!o.plain && !o.certificate)) usage("--port, --tokens and --certificate are needed");
    return o;
}
