/* The floor of the benchmarks: the least that a server with epoll has to do, in C.

   floor echo                      sends back what comes
   floor answer LINES ANSWER       answers each LINES lines with the content of the file ANSWER
   floor close ANSWER              answers the first line with the content of the file, and ends the connection
   floor relay PORT                connects each connection to the port, and copies both directions
   floor datagram                  sends each datagram back

   It prints the port that it listens at, and ends with its standard input. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    int fd;
    struct connection *other; /* where what comes is sent to: itself, or the other side of a relay */
    long lines;               /* of a request that is not whole */
    char *left;               /* what the socket did not take yet */
    size_t size;
    int is_deaf;              /* not read from, while the other side has something left */
    int is_closed;
};

static char buffer[1 << 18], answer[1 << 16];
static size_t answer_size;
static long lines_of_request, target;
static int poller, closes;

static void fail(const char *what) { perror(what); exit(1); }

static void arm(struct connection *one, int operation)
{
    struct epoll_event event = {.data.ptr = one};
    event.events = (one->is_deaf ? 0 : EPOLLIN) | (one->size ? EPOLLOUT : 0);
    if (epoll_ctl(poller, operation, one->fd, &event)) fail("epoll_ctl");
}

static struct connection *add(int fd)
{
    struct connection *one = calloc(1, sizeof *one);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    one->fd = fd;
    one->other = one;
    arm(one, EPOLL_CTL_ADD);
    return one;
}

static int listening(int kind)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, kind | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size)) fail("bind");
    if (kind == SOCK_STREAM && listen(fd, 1024)) fail("listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static struct connection *connected(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(target)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    return add(fd);
}

static void accept_one(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return;
    struct connection *one = add(fd);
    if (target) {
        one->other = connected();
        one->other->other = one;
    }
}

static void end(struct connection *one)
{
    struct connection *sides[] = {one, one->other};
    for (int i = 0; i < 2; i++)
        if (!sides[i]->is_closed) {
            sides[i]->is_closed = 1; /* not freed: an event of this batch may name it, and the process is short */
            close(sides[i]->fd);
            free(sides[i]->left);
        }
}

static void give(struct connection *to, const char *data, size_t size)
{
    ssize_t sent = send(to->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) {
        end(to);
        return;
    }
    if (sent < 0) sent = 0;
    if ((size_t)sent == size) return;
    to->size = size - sent;
    to->left = malloc(to->size);
    memcpy(to->left, data + sent, to->size);
    to->other->is_deaf = 1;
    arm(to, EPOLL_CTL_MOD);
    if (to->other != to) arm(to->other, EPOLL_CTL_MOD);
}

static void give_left(struct connection *to)
{
    char *left = to->left;
    size_t size = to->size;
    to->left = NULL, to->size = 0, to->other->is_deaf = 0;
    give(to, left, size);
    free(left);
    if (to->is_closed || to->size) return;
    arm(to, EPOLL_CTL_MOD);
    if (to->other != to) arm(to->other, EPOLL_CTL_MOD);
}

static void take(struct connection *one)
{
    ssize_t size = recv(one->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
        end(one);
        return;
    }
    if (!answer_size) {
        give(one->other, buffer, size);
        return;
    }
    for (char *place = buffer; (place = memchr(place, '\n', buffer + size - place)); place++) one->lines++;
    size_t answers = one->lines / lines_of_request;
    one->lines %= lines_of_request;
    if (answers > sizeof buffer / answer_size) fail("too many requests at once");
    for (size_t i = 0; i < answers; i++) memcpy(buffer + i * answer_size, answer, answer_size);
    if (answers) give(one, buffer, answers * answer_size);
    if (answers && closes) end(one);
}

static void echo_datagrams(int fd)
{
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    ssize_t size;
    while ((size = recvfrom(fd, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)&peer, &length)) >= 0)
        sendto(fd, buffer, size, MSG_DONTWAIT, (struct sockaddr *)&peer, length);
}

int main(int count, char **arguments)
{
    const char *kind = count > 1 ? arguments[1] : "";
    const char *path = !strcmp(kind, "answer") ? arguments[3] : !strcmp(kind, "close") ? arguments[2] : NULL;
    int is_datagram = !strcmp(kind, "datagram");
    int listener = listening(is_datagram ? SOCK_DGRAM : SOCK_STREAM);
    struct epoll_event events[64], event = {.events = EPOLLIN};

    if (path) {
        FILE *file = fopen(path, "rb");
        if (!file) fail(path);
        answer_size = fread(answer, 1, sizeof answer, file);
        lines_of_request = 1;
    }
    if (!strcmp(kind, "answer")) lines_of_request = atol(arguments[2]);
    if (!strcmp(kind, "relay")) target = atol(arguments[2]);
    closes = !strcmp(kind, "close");
    poller = epoll_create1(0);
    event.data.ptr = &listener;
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = NULL;
    if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event)) fail("standard input");
    for (;;) {
        int ready = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *one = events[i].data.ptr;
            if (!one) return 0; /* the standard input has ended */
            if (events[i].data.ptr == &listener) {
                is_datagram ? echo_datagrams(listener) : accept_one(listener);
                continue;
            }
            if (!one->is_closed && events[i].events & EPOLLOUT) give_left(one);
            if (!one->is_closed && events[i].events & ~EPOLLOUT && !one->is_deaf) take(one);
        }
    }
}
