/* An HTTP/1.1 response, read just far enough to know its status and where it ends.
 *
 * Rules of this file: no I/O. Bytes go in through `response_feed`; `done` says that the response is whole.
 * It trusts the peer (which we started ourselves), so it knows Content-Length and chunked, and nothing exotic. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_MAX = 4096 };

struct response {
    char head[HEAD_MAX + 1];
    size_t head_len;
    bool in_body, done, chunked, close, broken;
    int status;
    unsigned long long body_left;       /* of the body, or of the chunk */
    char line[32];                      /* chunk-size line, or a trailer line's first bytes */
    size_t line_len;
    bool in_chunk, after_chunk, last_chunk;
};

static void response_reset(struct response *r) {
    r->head_len = r->line_len = 0;
    r->in_body = r->done = r->chunked = r->close = r->broken = false;
    r->in_chunk = r->after_chunk = r->last_chunk = false;
    r->status = 0;
    r->body_left = 0;
}

static const char *field(const char *head, const char *name) {
    size_t length = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, length) && line[2 + length] == ':')
            return line + 3 + length + strspn(line + 3 + length, " ");
    return NULL;
}

static void read_head(struct response *r) {
    r->head[r->head_len] = 0;
    r->status = r->head_len > 12 ? atoi(r->head + 9) : 0;
    const char *length = field(r->head, "content-length"), *connection = field(r->head, "connection");
    r->chunked = field(r->head, "transfer-encoding") != NULL;
    r->close = connection && !strncasecmp(connection, "close", 5);
    r->body_left = length ? strtoull(length, NULL, 10) : 0;
    r->in_body = true;
    r->done = !r->chunked && r->body_left == 0;
}

/* One line of the chunked framing is whole: a size, the empty line after a chunk, or the end. */
static void read_line(struct response *r) {
    r->line[r->line_len < sizeof r->line ? r->line_len : sizeof r->line - 1] = 0;
    bool empty = r->line_len == 0 || r->line[0] == '\r';
    r->line_len = 0;
    if (r->last_chunk) {
        r->done = empty;
    } else if (r->after_chunk) {
        r->after_chunk = false;
    } else {
        r->body_left = strtoull(r->line, NULL, 16);
        r->last_chunk = r->body_left == 0;
        r->in_chunk = !r->last_chunk;
    }
}

static size_t feed_head(struct response *r, const char *bytes, size_t n) {
    size_t room = HEAD_MAX - r->head_len, take = n < room ? n : room, from = r->head_len > 3 ? r->head_len - 3 : 0;
    memcpy(r->head + r->head_len, bytes, take);
    char *end = memmem(r->head + from, r->head_len + take - from, "\r\n\r\n", 4);
    if (!end) {
        r->head_len += take;
        r->broken = take == 0;
        return take;
    }
    size_t used = (size_t)(end + 4 - r->head) - r->head_len;
    r->head_len += used;
    read_head(r);
    return used;
}

static size_t feed_body(struct response *r, const char *bytes, size_t n) {
    if (r->chunked && !r->in_chunk) {
        if (bytes[0] == '\n') read_line(r);
        else if (r->line_len < sizeof r->line - 1) r->line[r->line_len++] = bytes[0];
        return 1;
    }
    size_t take = n < r->body_left ? n : (size_t)r->body_left;
    r->body_left -= take;
    if (r->body_left == 0 && r->chunked) r->in_chunk = false, r->after_chunk = true;
    else r->done = r->body_left == 0;
    return take;
}

/* Takes the bytes in; the caller looks at `done` and `broken`. Bytes after the end of a response are an error. */
static void response_feed(struct response *r, const char *bytes, size_t n) {
    while (n && !r->broken) {
        if (r->done) {
            r->broken = true;
            return;
        }
        size_t used = r->in_body ? feed_body(r, bytes, n) : feed_head(r, bytes, n);
        bytes += used;
        n -= used;
    }
}
