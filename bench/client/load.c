/* The load client of `make bench`: HTTP/1.1 over TLS with a client certificate, from one thread.
 *
 * Theory of operation. Connections are small machines (CONNECTING → HANDSHAKING → READY → SENDING → RECEIVING)
 * that `advance` drives as far as the socket allows; epoll is edge-triggered, so each is registered once.
 * A run has phases: open all connections, warm up, come to rest, print "ready" and wait for a line on stdin,
 * measure, come to rest, print one line of JSON. Whoever starts us reads the proxy's CPU clock at the two
 * rests, so CPU and requests are counted over exactly the same work and no handshake slips into a
 * keep-alive figure. With --rate, requests have due times and latency counts from these: a slow proxy
 * cannot slow the questions down (no coordinated omission).
 *
 *   gcc -O2 -o load load.c -lssl -lcrypto */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "options.h"
#include "response.h"

enum state { CLOSED, CONNECTING, HANDSHAKING, READY, SENDING, RECEIVING };
enum { OPENING_AT_ONCE = 16, STALLED_AFTER = 30, CHUNK = 65536 };

struct connection {
    int fd;
    SSL *ssl;
    enum state state;
    bool counted, asked;                /* counted as resumed; has had a request of its own (--idle) */
    uint64_t begun;                     /* ns: when the request was due */
    char *out;
    size_t out_len, out_off;
    unsigned long long upload_left;
    struct response response;
};

static struct options opt;
static SSL_CTX *context;
static SSL_SESSION *ticket;
static int epoll_fd;
static struct connection *all, **parked;    /* parked: ready, and nothing to ask yet */
static int parked_count, opening, in_flight;
static char **tokens, **proofs;
static long token_count, proof_count, next_token, completed, resumed, connects;
static uint32_t *latencies;             /* 0.1 µs */
static size_t latency_count, latency_room;
static bool asking, measuring;          /* may new requests start; do they count */
static uint64_t due, interval, last_progress;
static unsigned long long body_bytes;
static char zeros[CHUNK];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void die(const char *what, struct connection *c) {
    fprintf(stderr, "load: %s (errno: %s)\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    if (c && c->response.head_len) fprintf(stderr, "response so far: %.*s\n", (int)c->response.head_len, c->response.head);
    exit(1);
}

static int keep_ticket(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    if (ticket) SSL_SESSION_free(ticket);
    ticket = session;
    return 1;                           /* the reference is ours now */
}

static void make_context(void) {
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_chain_file(context, opt.certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, opt.certificate, SSL_FILETYPE_PEM) != 1)
        die("cannot use the client certificate", NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, keep_ticket);
}

static char **read_lines(const char *path, long *count) {
    FILE *file = fopen(path, "r");
    if (!file) die("cannot read the tokens or proofs", NULL);
    char **lines = NULL;
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    for (long i = 0; (length = getline(&line, &room, file)) > 0; i++) {
        if (i < opt.first || (opt.limit && i >= opt.first + opt.limit)) continue;
        if (line[length - 1] == '\n') line[length - 1] = 0;
        if (*count % 1024 == 0) lines = realloc(lines, sizeof *lines * (size_t)(*count + 1024));
        lines[(*count)++] = strdup(line);
    }
    free(line);
    fclose(file);
    if (!*count) die("no tokens or proofs in this slice", NULL);
    return lines;
}

static bool has_question(void) {
    double share = measuring ? 1 : opt.warmup / (opt.warmup + opt.seconds);     /* warming up leaves the rest unused */
    long pool = proofs ? proof_count : token_count;
    if ((opt.once || proofs) && next_token >= (long)((double)pool * share)) return false;
    return !(measuring && opt.requests && completed + in_flight >= opt.requests);
}

static void note_latency(uint64_t ns) {
    if (latency_count == latency_room) {
        latency_room = latency_room ? latency_room * 2 : 65536;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
    }
    latencies[latency_count++] = (uint32_t)(ns / 100);
}

static void open_connection(struct connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) die("connect", c);
    if (!opt.plain) {
        c->ssl = SSL_new(context);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_connect_state(c->ssl);
        if (opt.reuse == RESUMED_HANDSHAKE && ticket) SSL_set_session(c->ssl, ticket);
    }
    c->state = CONNECTING;
    c->counted = false;
    connects += measuring;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl", c);
}

static void close_connection(struct connection *c) {
    if (c->ssl) {
        SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
    }
    c->ssl = NULL;
    close(c->fd);
    c->state = CLOSED;
}

static void write_request(struct connection *c) {
    const char *token = tokens[next_token % token_count], *close = opt.reuse == KEEP_ALIVE ? "" : "Connection: close\r\n";
    const char *proof = proofs ? proofs[next_token] : "";
    next_token++;
    c->out = realloc(c->out, strlen(token) + strlen(proof) + strlen(opt.path) + (opt.form ? strlen(opt.form) : 0) + 512);
    if (opt.form) {
        bool bare = !strcmp(token, "-");
        c->out_len = (size_t)sprintf(c->out, "POST %s HTTP/1.1\r\nHost: api.example.com\r\n%s%s%s%s"
                                     "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %zu\r\n\r\n%s",
                                     opt.path, bare ? "" : "Authorization: Bearer ", bare ? "" : token, bare ? "" : "\r\n", close,
                                     strlen(opt.form), opt.form);
    } else if (opt.upload)
        c->out_len = (size_t)sprintf(c->out, "POST %s HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer %s\r\n%sContent-Length: %llu\r\n\r\n",
                                     opt.path, token, close, opt.upload);
    else if (proofs)
        c->out_len = (size_t)sprintf(c->out, "GET %s HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: DPoP %s\r\nDPoP: %s\r\n%s\r\n", opt.path, token, proof, close);
    else
        c->out_len = (size_t)sprintf(c->out, "GET %s HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer %s\r\n%s\r\n", opt.path, token, close);
    c->out_off = 0;
    c->upload_left = opt.upload;
    response_reset(&c->response);
}

static void begin_request(struct connection *c, uint64_t at) {
    in_flight++;
    c->begun = at;
    if (opt.reuse != KEEP_ALIVE) open_connection(c);
    write_request(c);
    if (opt.reuse == KEEP_ALIVE) c->state = SENDING;
}

/* > 0 bytes moved; 0 the socket would block; < 0 the connection is gone. */
static ssize_t outcome(struct connection *c, ssize_t r) {
    if (r > 0) return r;
    if (!c->ssl) return r < 0 && errno == EAGAIN ? 0 : -1;
    int error = SSL_get_error(c->ssl, (int)r);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t send_some(struct connection *c, const char *bytes, size_t n) {
    return outcome(c, c->ssl ? SSL_write(c->ssl, bytes, (int)n) : write(c->fd, bytes, n));
}

static void finish_request(struct connection *c) {
    uint64_t at = now();
    if (c->response.status != opt.expect) die("unexpected status", c);
    in_flight--;
    last_progress = at;
    if (measuring) {
        completed++;
        note_latency(at - c->begun);
        body_bytes += opt.upload;
    }
    c->asked = true;
    c->state = READY;
    if (opt.reuse != KEEP_ALIVE) close_connection(c);
    else if (c->response.close) close_connection(c), opening++, open_connection(c);
}

/* One step of a connection; false when it has to wait for its socket. */
static bool step(struct connection *c) {
    static char buffer[CHUNK];
    ssize_t n = 1;
    if (c->state == CONNECTING || c->state == HANDSHAKING) {
        if (c->state == CONNECTING) {
            struct sockaddr_in peer;
            socklen_t length = sizeof peer;
            if (getpeername(c->fd, (struct sockaddr *)&peer, &length)) return false;
            c->state = HANDSHAKING;
        }
        if (c->ssl && (n = outcome(c, SSL_do_handshake(c->ssl))) < 0) die("TLS handshake refused", c);
        if (n == 0) return false;
        if (c->ssl && measuring && SSL_session_reused(c->ssl)) resumed++;
        last_progress = now();
        c->state = opt.reuse == KEEP_ALIVE ? READY : SENDING;
        if (opt.reuse == KEEP_ALIVE) opening--;
    } else if (c->state == SENDING) {
        bool head = c->out_off < c->out_len;
        size_t left = c->upload_left < CHUNK ? (size_t)c->upload_left : CHUNK;
        n = head ? send_some(c, c->out + c->out_off, c->out_len - c->out_off) : send_some(c, zeros, left);
        if (n < 0) die("the peer closed while we were sending", c);
        if (head) c->out_off += (size_t)n;
        else c->upload_left -= (unsigned long long)n;
        if (n > 0 && !head) last_progress = now();
        if (c->out_off == c->out_len && !c->upload_left) c->state = RECEIVING;
    } else {
        n = outcome(c, c->ssl ? SSL_read(c->ssl, buffer, sizeof buffer) : read(c->fd, buffer, sizeof buffer));
        if (n < 0) die("the peer closed before it answered", c);
        if (n > 0) response_feed(&c->response, buffer, (size_t)n);
        if (c->response.broken) die("not an HTTP/1.1 response", c);
        if (measuring && n > 0) body_bytes += (unsigned long long)n;
        if (n > 0) last_progress = now();
        if (c->response.done) finish_request(c);
    }
    return n > 0;
}

static void advance(struct connection *c) {
    for (;;) {
        if (c->state != READY && c->state != CLOSED) {
            if (!step(c)) return;
            continue;
        }
        if (opt.rate == 0 && asking && has_question() && !(opt.idle && c->asked)) begin_request(c, now());
        else {
            parked[parked_count++] = c;
            return;
        }
    }
}

/* Wakes parked connections: all of them when there is no rate, else one for each request that is due. */
static void ask(void) {
    int waiting = parked_count;
    while (opt.rate == 0 && waiting-- > 0) advance(parked[--parked_count]);
    for (uint64_t at = now(); opt.rate > 0 && due <= at && parked_count > 0 && has_question(); due += interval) {
        struct connection *c = parked[--parked_count];
        begin_request(c, due);
        advance(c);
    }
}

static void poll_sockets(double timeout) {
    struct epoll_event events[512];
    struct timespec wait = {.tv_sec = (time_t)timeout, .tv_nsec = (long)((timeout - (double)(time_t)timeout) * 1e9)};
    int n = epoll_pwait2(epoll_fd, events, 512, &wait, NULL);
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->state >= CONNECTING && c->state != READY) advance(c);
        else if (events[i].events & EPOLLIN && c->ssl && c->state == READY) {
            char byte;                  /* a late ticket, or the peer's good-bye */
            if (outcome(c, SSL_read(c->ssl, &byte, 1)) != 0) die("the peer spoke or closed between requests", c);
        }
    }
    if (in_flight && now() - last_progress > STALLED_AFTER * 1000000000ull) die("no answer for 30 s", NULL);
}

/* Asks for `seconds` (or until the questions end), then comes to rest. Returns the seconds it took. */
static double run(double seconds) {
    uint64_t start = now(), end = start + (uint64_t)(seconds * 1e9);
    last_progress = due = start;
    asking = true;
    while (now() < end && (has_question() || in_flight)) {
        ask();
        double wait = opt.rate > 0 && due > now() ? (double)(due - now()) / 1e9 : 0.1;
        poll_sockets(opt.rate > 0 && !parked_count ? 0.1 : wait);
    }
    asking = false;
    while (in_flight) poll_sockets(0.1);
    return (double)(now() - start) / 1e9;
}

static void open_all(void) {
    last_progress = now();
    asking = opt.idle;                  /* each asks its one request as soon as it is open */
    for (int i = 0; i < opt.connections; i++) {
        struct connection *c = &all[i];
        if (opt.reuse != KEEP_ALIVE) {
            parked[parked_count++] = c;
            continue;
        }
        opening++;
        open_connection(c);
        while (opening + in_flight >= OPENING_AT_ONCE) poll_sockets(0.1);
    }
    while (opening || in_flight) {
        poll_sockets(0.1);
        if (now() - last_progress > STALLED_AFTER * 1000000000ull) die("no handshake for 30 s", NULL);
    }
    asking = false;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile_ms(double q) {
    if (!latency_count) return 0;
    return latencies[(size_t)(q * (double)(latency_count - 1) + 0.5)] / 1e4;
}

int main(int argc, char **argv) {
    opt = read_options(argc, argv);
    if (opt.rate > 0) interval = (uint64_t)(1e9 / opt.rate);
    if (!opt.plain) make_context();
    tokens = read_lines(opt.tokens, &token_count);
    if (opt.proofs) proofs = read_lines(opt.proofs, &proof_count);
    epoll_fd = epoll_create1(0);
    all = calloc((size_t)opt.connections, sizeof *all);
    parked = calloc((size_t)opt.connections, sizeof(void *));
    open_all();
    if (opt.warmup > 0) run(opt.warmup);
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF) return 1;
    measuring = true;
    double seconds = opt.seconds > 0 ? run(opt.seconds) : 0;
    qsort(latencies, latency_count, sizeof *latencies, by_value);
    printf("{\"requests\": %ld, \"seconds\": %.6f, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, "
           "\"connects\": %ld, \"resumed\": %ld, \"bytes\": %llu}\n",
           completed, seconds, quantile_ms(0.5), quantile_ms(0.99), quantile_ms(0.999), connects, resumed, body_bytes);
    return 0;
}
