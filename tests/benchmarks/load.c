/* The load of the benchmarks: connections to a server on this host, and messages on them.

   load stream|close|datagram PORT CONNECTIONS DEPTH REQUEST ANSWER
        REQUEST and ANSWER are files: one message, and what the server answers to it.

   stream    opens CONNECTIONS connections at the start and keeps them; DEPTH messages are outstanding on each
   close     opens a connection for each message, CONNECTIONS at a time; the server ends it after its answer
   datagram  one socket, with DEPTH datagrams outstanding

   It says "ready" when the connections are open; on each of them one message was answered. Then it takes commands from
   its standard input: "go N" sends N messages, and says "N LOST SECONDS" when all are answered; "hold" sends one byte
   on each connection, and says "held". It ends with its input. An answer that is not ANSWER ends it with an error. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 20 /* seconds without any progress are an error */

struct text { char *data; size_t size; };
struct connection { int fd; size_t sent, received; int armed; };

static struct sockaddr_in address = {.sin_family = AF_INET};
static struct text request, answer;       /* of one message */
static struct text requests, answers;     /* of DEPTH messages */
static long depth, to_start, to_finish;   /* messages */
static int poller;

static void fail(const char *what) { perror(what); exit(1); }

static void refuse(const char *what) { fprintf(stderr, "load: %s\n", what); exit(1); }

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static struct text content(const char *path)
{
    struct text text = {NULL, 0};
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(path);
    text.size = ftell(file);
    rewind(file);
    text.data = malloc(text.size);
    if (fread(text.data, 1, text.size, file) != text.size) fail(path);
    fclose(file);
    return text;
}

static struct text repeated(struct text text, long times)
{
    struct text all = {malloc(text.size * times), text.size * times};
    for (long i = 0; i < times; i++) memcpy(all.data + i * text.size, text.data, text.size);
    return all;
}

static int connected(int kind)
{
    struct timeval patience = {PATIENCE, 0};
    int one = 1, fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    if (kind == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void watch(struct connection *connection, int operation, int events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(poller, operation, connection->fd, &event)) fail("epoll_ctl");
    connection->armed = events;
}

static void compare(const char *data, size_t place, size_t size)
{
    if (place + size > answers.size || memcmp(data, answers.data + place, size)) refuse("a wrong answer");
}

/* Streams */

static void push(struct connection *connection)
{
    while (connection->sent < requests.size) {
        ssize_t size = send(connection->fd, requests.data + connection->sent, requests.size - connection->sent,
                            MSG_NOSIGNAL);
        if (size < 0 && errno == EAGAIN) break;
        if (size < 0) fail("send");
        connection->sent += size;
    }
    int wanted = EPOLLIN | (connection->sent < requests.size ? EPOLLOUT : 0);
    if (wanted != connection->armed) watch(connection, EPOLL_CTL_MOD, wanted);
}

static void start(struct connection *connection)
{
    if (to_start <= 0) return;
    to_start -= depth;
    connection->sent = connection->received = 0;
    push(connection);
}

static void pull(struct connection *connection)
{
    static char buffer[1 << 18];
    ssize_t size = recv(connection->fd, buffer, sizeof buffer, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) fail("recv");
    if (size == 0) refuse("the server ended a connection");
    compare(buffer, connection->received, size);
    connection->received += size;
    if (connection->received == answers.size) {
        to_finish -= depth;
        start(connection);
    }
}

/* A connection for each message */

static void open_one(struct connection *connection)
{
    if (to_start <= 0) return;
    to_start--;
    connection->fd = connected(SOCK_STREAM);
    connection->received = 0;
    if (send(connection->fd, request.data, request.size, MSG_NOSIGNAL) != (ssize_t)request.size) fail("send");
    watch(connection, EPOLL_CTL_ADD, EPOLLIN);
}

static void take_one(struct connection *connection)
{
    static char buffer[1 << 16];
    ssize_t size = recv(connection->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) fail("recv");
    if (size) {
        compare(buffer, connection->received, size);
        connection->received += size;
        return;
    }
    if (connection->received != answer.size) refuse("a short answer");
    close(connection->fd);
    to_finish--;
    open_one(connection);
}

static void serve(struct connection *connections, long count, int keep)
{
    struct epoll_event events[64];
    for (long i = 0; i < count; i++) keep ? start(connections + i) : open_one(connections + i);
    while (to_finish > 0) {
        int ready = epoll_wait(poller, events, 64, PATIENCE * 1000);
        if (ready < 0 && errno != EINTR) fail("epoll_wait");
        if (ready == 0) refuse("no answer");
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!keep) {
                take_one(connection);
                continue;
            }
            if (events[i].events & EPOLLOUT) push(connection);
            if (events[i].events & ~EPOLLOUT) pull(connection);
        }
    }
}

/* Datagrams: the next one is sent when one is answered. What is lost is counted, and sent again. */

static long datagrams(int fd)
{
    struct timeval patience = {0, 200000};
    long outstanding = 0, lost = 0, lost_now = 0;
    char buffer[1 << 16];
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    while (to_finish > 0) {
        for (; to_start > 0 && outstanding < depth; outstanding++, to_start--)
            if (send(fd, request.data, request.size, 0) < 0) fail("send");
        ssize_t size = recv(fd, buffer, sizeof buffer, 0);
        if (size < 0 && errno != EAGAIN) fail("recv");
        if (size < 0) {
            lost += outstanding, to_start += outstanding, outstanding = 0;
            if (++lost_now > PATIENCE * 5) refuse("no answer");
            continue;
        }
        if (size != (ssize_t)answer.size || memcmp(buffer, answer.data, size)) refuse("a wrong answer");
        lost_now = 0, outstanding--, to_finish--;
    }
    return lost;
}

/* One message on each connection, so that the server has accepted it and has done what it does once. */

static void greet(int fd)
{
    char *buffer = malloc(answer.size);
    size_t sent = 0, received = 0;
    while (received < answer.size) {
        ssize_t size = sent < request.size ? send(fd, request.data + sent, request.size - sent, MSG_DONTWAIT) : 0;
        if (size < 0 && errno != EAGAIN) fail("send");
        if (size > 0) sent += size;
        size = recv(fd, buffer, answer.size - received, sent < request.size ? MSG_DONTWAIT : 0);
        if (size == 0) refuse("the server ended a connection");
        if (size < 0 && (errno != EAGAIN || sent == request.size)) fail("recv");
        if (size > 0) received += size;
    }
    free(buffer);
}

int main(int count, char **arguments)
{
    if (count != 7) refuse("stream|close|datagram PORT CONNECTIONS DEPTH REQUEST ANSWER");
    const char *kind = arguments[1];
    long connections = atol(arguments[3]);
    int keep = !strcmp(kind, "stream"), is_datagram = !strcmp(kind, "datagram");
    struct connection *all = calloc(connections, sizeof *all);
    char line[64];

    address.sin_port = htons(atoi(arguments[2]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    depth = atol(arguments[4]);
    request = content(arguments[5]), answer = content(arguments[6]);
    requests = repeated(request, keep ? depth : 1), answers = repeated(answer, keep ? depth : 1);
    poller = epoll_create1(EPOLL_CLOEXEC);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (is_datagram) all[0].fd = connected(SOCK_DGRAM);
    for (long i = 0; keep && i < connections; i++) {
        all[i].fd = connected(SOCK_STREAM);
        greet(all[i].fd);
        if (fcntl(all[i].fd, F_SETFL, O_NONBLOCK)) fail("fcntl");
        watch(all + i, EPOLL_CTL_ADD, EPOLLIN);
    }
    puts("ready");
    while (fgets(line, sizeof line, stdin)) {
        long number = 0, lost = 0;
        if (sscanf(line, "go %ld", &number) == 1) {
            double begun = now();
            to_start = to_finish = keep ? (number + depth - 1) / depth * depth : number;
            number = to_finish;
            if (is_datagram) lost = datagrams(all[0].fd);
            else serve(all, connections, keep);
            printf("%ld %ld %f\n", number, lost, now() - begun);
        } else {
            for (long i = 0; keep && i < connections; i++)
                if (send(all[i].fd, "x", 1, MSG_NOSIGNAL) != 1) fail("send");
            puts("held");
        }
    }
    return 0;
}
