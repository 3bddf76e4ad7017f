/* Sockets: pairs, names, datagrams, TCP and UDP on the loopback, options, what is sent beside data.
 */
#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

static void pairs(void)
{
    int fds[2];
    char buffer[100];
    CHECK_IS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    CHECK_IS(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    CHECK_IS(send(fds[0], "hello world", 11, 0), 11);
    CHECK_IS(recv(fds[1], buffer, 5, MSG_PEEK), 5);
    CHECK_IS(recv(fds[1], buffer, 100, MSG_DONTWAIT), 11);
    CHECK_ERROR(recv(fds[1], buffer, 100, MSG_DONTWAIT), EAGAIN);
    CHECK_IS(shutdown(fds[0], SHUT_WR), 0);
    CHECK_IS(recv(fds[1], buffer, 100, 0), 0);
    CHECK_ERROR(send(fds[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    close(fds[0]);
    close(fds[1]);
    CHECK_IS(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    CHECK_IS(send(fds[0], "packet", 6, MSG_EOR) + send(fds[0], "next", 4, 0), 10);
    struct iovec part = {buffer, 3};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    CHECK_IS(recvmsg(fds[1], &message, MSG_TRUNC), 6);
    CHECK(message.msg_flags & MSG_TRUNC);
    CHECK_IS(recv(fds[1], buffer, 100, 0), 4);
    struct mmsghdr many[3];
    struct iovec parts[3];
    memset(many, 0, sizeof(many));
    for (int i = 0; i < 3; i++) {
        parts[i] = (struct iovec){(char[]){"abcdef"}, (size_t)i + 1};
        many[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    CHECK_IS(sendmmsg(fds[0], many, 3, 0), 3);
    CHECK_IS(many[2].msg_len, 3);
    char room[3][10];
    for (int i = 0; i < 3; i++)
        parts[i] = (struct iovec){room[i], 10};
    struct timespec second = {1, 0};
    CHECK_IS(recvmmsg(fds[1], many, 3, MSG_WAITFORONE, &second), 3);
    printf("lengths %u %u %u\n", many[0].msg_len, many[1].msg_len, many[2].msg_len);
    close(fds[0]);
    close(fds[1]);
    CHECK_ERROR(socketpair(AF_INET, SOCK_STREAM, 0, fds), EOPNOTSUPP);
    CHECK_ERROR(socket(AF_UNIX, 99, 0), EINVAL);
    DONE("pairs");
}

static void descriptors(void)
{
    int fds[2], pipes[2];
    CHECK_IS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) | pipe(pipes), 0);
    int on = 1;
    CHECK_IS(setsockopt(fds[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(2 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    memset(&control, 0, sizeof(control));
    struct iovec part = {(char[]){"d"}, 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(2 * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(2 * sizeof(int))};
    memcpy(CMSG_DATA(header), pipes, sizeof(pipes));
    CHECK_IS(sendmsg(fds[0], &message, 0), 1);
    close(pipes[0]);

    memset(&control, 0, sizeof(control));
    message.msg_controllen = sizeof(control);
    CHECK_IS(recvmsg(fds[1], &message, MSG_CMSG_CLOEXEC), 1);
    int received[2] = {-1, -1};
    for (header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        printf("control %d %d, %u bytes\n", header->cmsg_level, header->cmsg_type,
               (unsigned)(header->cmsg_len - CMSG_LEN(0)));
        if (header->cmsg_type == SCM_RIGHTS)
            memcpy(received, CMSG_DATA(header), sizeof(received));
        struct ucred who;
        if (header->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&who, CMSG_DATA(header), sizeof(who));
            CHECK_IS(who.pid, getpid());
            CHECK_IS(who.uid, getuid());
        }
    }
    CHECK_IS(fcntl(received[0], F_GETFD), FD_CLOEXEC);
    CHECK_IS(write(pipes[1], "through", 7), 7);
    char buffer[20];
    CHECK_IS(read(received[0], buffer, 20), 7);

    /* Room for less than what was sent. */
    message.msg_control = NULL;
    message.msg_controllen = 0;
    CHECK_IS(send(fds[0], "e", 1, 0), 1);
    CHECK_IS(recvmsg(fds[1], &message, 0), 1);
    CHECK(message.msg_flags & MSG_CTRUNC);
    DONE("descriptors");
}

static void names(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"}, got;
    socklen_t size = sizeof(got);
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERROR(connect(client, (struct sockaddr *)&address, sizeof(address)), ENOENT);
    CHECK_IS(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_ERROR(connect(client, (struct sockaddr *)&address, sizeof(address)), ECONNREFUSED);
    CHECK_IS(listen(server, 5), 0);
    CHECK_IS(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    int peer = accept4(server, (struct sockaddr *)&got, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(peer >= 0);
    CHECK_IS(size, sizeof(sa_family_t));
    CHECK(fcntl(peer, F_GETFL) & O_NONBLOCK);
    size = sizeof(got);
    CHECK_IS(getsockname(server, (struct sockaddr *)&got, &size), 0);
    printf("name %s, %u bytes\n", got.sun_path, size);
    size = sizeof(got);
    CHECK_IS(getpeername(client, (struct sockaddr *)&got, &size), 0);
    CHECK(!strcmp(got.sun_path, "socket"));
    struct ucred who;
    size = sizeof(who);
    CHECK_IS(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &size), 0);
    CHECK_IS(who.pid, getpid());

    struct sockaddr_un hidden = {.sun_family = AF_UNIX};
    int length = snprintf(hidden.sun_path + 1, 100, "guise-test-%d", getpid());
    size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    int one = socket(AF_UNIX, SOCK_DGRAM, 0), two = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK_IS(bind(one, (struct sockaddr *)&hidden, size), 0);
    CHECK_IS(sendto(two, "datagram", 8, 0, (struct sockaddr *)&hidden, size), 8);
    char buffer[20];
    CHECK_IS(recvfrom(one, buffer, 20, 0, NULL, NULL), 8);
    DONE("names");
}

static void options(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), value = 0;
    if (fd < 0)
        SKIP("no IPv4");
    socklen_t size = sizeof(value);
    const struct {
        int level, name;
    } each[] = {{SOL_SOCKET, SO_TYPE},      {SOL_SOCKET, SO_DOMAIN},     {SOL_SOCKET, SO_PROTOCOL},
                {SOL_SOCKET, SO_REUSEADDR}, {SOL_SOCKET, SO_ERROR},      {SOL_SOCKET, SO_KEEPALIVE},
                {SOL_SOCKET, SO_BROADCAST}, {SOL_SOCKET, SO_ACCEPTCONN}, {IPPROTO_TCP, TCP_NODELAY},
                {IPPROTO_IP, IP_TTL}};
    for (unsigned i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        CHECK_IS(getsockopt(fd, each[i].level, each[i].name, &value, &size), 0);
        printf("option %d %d is %d\n", each[i].level, each[i].name, value);
    }
    value = 1;
    CHECK_IS(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, sizeof(value)), 0);
    CHECK_IS(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value)), 0);
    value = 5000;
    CHECK_IS(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof(value)), 0);
    CHECK_IS(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, &size), 0);
    CHECK_IS(value, 10000);
    struct timeval patience = {0, 20000}, got;
    size = sizeof(got);
    CHECK_IS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    CHECK_IS(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &got, &size), 0);
    CHECK(got.tv_sec == 0 && got.tv_usec >= 20000 && size == sizeof(got));
    struct linger linger = {1, 5};
    CHECK_IS(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    char name[32] = {0};
    size = sizeof(name);
    CHECK_IS(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4), 0);
    CHECK_IS(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &size), 0);
    printf("congestion %s\n", name);
    CHECK_ERROR(setsockopt(fd, SOL_SOCKET, 9999, &value, sizeof(value)), ENOPROTOOPT);
    CHECK_ERROR(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, 1), EINVAL);
    CHECK_ERROR(getsockopt(0, SOL_SOCKET, SO_TYPE, &value, &size), ENOTSOCK);
    close(fd);
    DONE("options");
}

static void tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, got;
    socklen_t size = sizeof(address);
    int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_IS(bind(server, (struct sockaddr *)&address, size), 0);
    CHECK_IS(getsockname(server, (struct sockaddr *)&address, &size), 0);
    CHECK_IS(listen(server, 1), 0);
    CHECK_IS(connect(client, (struct sockaddr *)&address, size), 0);
    int peer = accept(server, (struct sockaddr *)&got, &size);
    CHECK(peer >= 0);
    printf("peer %s\n", inet_ntoa(got.sin_addr));
    char data[5000], again[5000];
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 7);
    CHECK_IS(send(client, data, sizeof(data), MSG_MORE), sizeof(data));
    CHECK_IS(recv(peer, again, sizeof(again), MSG_WAITALL), sizeof(again));
    CHECK(!memcmp(data, again, sizeof(data)));
    CHECK_IS(send(peer, "!", 1, MSG_OOB), 1);
    struct pollfd wait = {client, POLLPRI, 0};
    CHECK_IS(poll(&wait, 1, 2000), 1);
    CHECK_IS(recv(client, again, 1, MSG_OOB), 1);
    CHECK_IS(again[0], '!');
    struct tcp_info info;
    size = sizeof(info);
    CHECK_IS(getsockopt(client, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    CHECK_IS(info.tcpi_state, TCP_ESTABLISHED);
    int n = -1;
    CHECK_IS(ioctl(client, FIONREAD, &n), 0);
    CHECK_IS(n, 0);
    CHECK_IS(close(peer), 0);
    CHECK_IS(recv(client, again, 1, 0), 0);
    close(client);
    close(server);
    DONE("tcp");
}

static void udp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int one = socket(AF_INET, SOCK_DGRAM, 0), two = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    CHECK_IS(bind(one, (struct sockaddr *)&address, size), 0);
    CHECK_IS(getsockname(one, (struct sockaddr *)&address, &size), 0);
    CHECK_IS(setsockopt(one, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)), 0);
    CHECK_IS(setsockopt(one, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)), 0);
    CHECK_IS(sendto(two, "udp", 3, 0, (struct sockaddr *)&address, size), 3);
    char buffer[20], control[200] __attribute__((aligned(8)));
    struct iovec part = {buffer, 20};
    struct sockaddr_in from;
    struct msghdr message = {.msg_name = &from,
                             .msg_namelen = sizeof(from),
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    CHECK_IS(recvmsg(one, &message, 0), 3);
    for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at; at = CMSG_NXTHDR(&message, at)) {
        printf("control %d %d, %u bytes\n", at->cmsg_level, at->cmsg_type,
               (unsigned)(at->cmsg_len - CMSG_LEN(0)));
        struct timeval stamp;
        if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_TIMESTAMP) {
            memcpy(&stamp, CMSG_DATA(at), sizeof(stamp));
            CHECK(labs(stamp.tv_sec - time(NULL)) < 100);
        }
    }
    CHECK_IS(from.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    DONE("udp");
}

int main(void)
{
    pairs();
    descriptors();
    names();
    options();
    tcp();
    udp();
    return 0;
}
