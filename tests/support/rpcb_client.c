/* What programs ask of a portmapper by libtirpc: rpcb_client PROGRAM VERSION, a program that is registered here. */
#include <arpa/inet.h>
#include <netconfig.h>
#include <netinet/in.h>
#include <rpc/pmap_clnt.h>
#include <rpc/pmap_prot.h>
#include <rpc/rpc.h>
#include <rpc/rpcb_clnt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char host[] = "127.0.0.1";

static void show_address(const char *what, rpcprog_t program, rpcvers_t version, const struct netconfig *transport)
{
    char data[256];
    struct netbuf address = {sizeof data, 0, data};
    int found = rpcb_getaddr(program, version, transport, &address, host);
    printf("%s %s\n", what, found ? taddr2uaddr(transport, &address) : "none");
}

static void call_null(rpcprog_t program, rpcvers_t version, const char *netid)
{
    struct timeval patience = {5, 0};
    CLIENT *client = clnt_create(host, program, version, netid);
    if (client == NULL) {
        printf("clnt_create %s: %d\n", netid, rpc_createerr.cf_stat);
        return;
    }
    printf("NULL %s: %d\n", netid, clnt_call(client, 0, (xdrproc_t)xdr_void, NULL, (xdrproc_t)xdr_void, NULL, patience));
    clnt_destroy(client);
}

int main(int argc, char **argv)
{
    rpcprog_t program = strtoul(argv[1], NULL, 0), other = program + 100;
    rpcvers_t version = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
    struct netconfig *tcp = getnetconfigent("tcp"), *udp = getnetconfigent("udp");
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in new = {.sin_family = AF_INET, .sin_port = htons(4000)};
    struct netbuf address = {sizeof new, sizeof new, &new};
    time_t now = 0;

    call_null(program, version, "tcp");
    call_null(program, version, "udp");
    call_null(program, 77, "tcp");
    call_null(other, 1, "tcp");
    call_null(PMAPPROG, 2, "udp");
    show_address("tcp", program, version, tcp);
    show_address("udp", program, version, udp);
    show_address("other", other, 1, tcp);
    int told = rpcb_gettime(host, &now);
    printf("time %d %d\n", told, labs(now - time(NULL)) < 60);

    printf("set %d\n", rpcb_set(other, 1, tcp, &address));
    printf("set again %d\n", rpcb_set(other, 1, tcp, &address));
    show_address("set", other, 1, tcp);
    there.sin_port = 0;
    printf("port %d\n", pmap_getport(&there, other, 1, IPPROTO_TCP));
    int listed = 0;
    for (rpcblist_ptr each = rpcb_getmaps(tcp, host); each; each = each->rpcb_next)
        listed += each->rpcb_map.r_prog == other || each->rpcb_map.r_prog == program;
    printf("listed %d\n", listed);
    printf("unset %d\n", rpcb_unset(other, 1, tcp));
    show_address("unset", other, 1, tcp);

    printf("pmap_set %d\n", pmap_set(other, 2, IPPROTO_UDP, 4001));
    there.sin_port = 0;
    printf("port %d\n", pmap_getport(&there, other, 2, IPPROTO_UDP));
    there.sin_port = 0;
    listed = 0;
    for (struct pmaplist *each = pmap_getmaps(&there); each; each = each->pml_next)
        listed += each->pml_map.pm_prog == other || each->pml_map.pm_prog == program;
    printf("listed %d\n", listed);
    printf("pmap_unset %d\n", pmap_unset(other, 2));
    there.sin_port = 0;
    printf("port %d\n", pmap_getport(&there, other, 2, IPPROTO_UDP));
    return 0;
}
