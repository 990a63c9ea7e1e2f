/* A server of calculator.x on libtirpc, version 1 only: its argument is tcp or udp. Says its port on 127.0.0.1.
   Compiled with GSS it also takes calls with RPCSEC_GSS. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rpc/rpc.h>
#ifdef GSS
#include <rpc/rpcsec_gss.h>
#include <rpc/svc_auth_gss.h>
#endif
#include "calculator.h"

void calculator_1(struct svc_req *, SVCXPRT *);

void *nothing_1_svc(struct svc_req *request) { static char nothing; return &nothing; }

int *add_1_svc(int first, int second, struct svc_req *request)
{
    static int sum;
    sum = first + second;
    return &sum;
}

text *repeat_1_svc(text given, struct svc_req *request)
{
    static char value[1001];
    static text result = {value};
    value[0] = 0;
    for (unsigned i = 0; i < given.times && strlen(value) + strlen(given.value) <= 1000; i++)
        strcat(value, given.value);
    result.times = given.times;
    return &result;
}

int *later_1_svc(int milliseconds, struct svc_req *request)
{
    static int result;
    usleep(1000 * milliseconds);
    result = milliseconds;
    return &result;
}

int *fail_1_svc(int when, struct svc_req *request)
{
    svcerr_systemerr(request->rq_xprt);
    return NULL;
}

int *undefined_1_svc(int number, struct svc_req *request)
{
    svcerr_noproc(request->rq_xprt);
    return NULL;
}

void *forget_1_svc(int number, struct svc_req *request) { return NULL; }

u_int *uid_1_svc(struct svc_req *request)
{
    static u_int uid;
#ifdef GSS
    if (request->rq_cred.oa_flavor == RPCSEC_GSS) {
        rpc_gss_rawcred_t *raw;
        rpc_gss_getcred(request, &raw, NULL, NULL);
        uid = 100 * raw->service + raw->client_principal->len;
        return &uid;
    }
#endif
    if (request->rq_cred.oa_flavor != AUTH_SYS) {
        svcerr_auth(request->rq_xprt, AUTH_TOOWEAK);
        return NULL;
    }
    uid = ((struct authunix_parms *)request->rq_clntcred)->aup_uid;
    return &uid;
}

filling *fill_1_svc(u_int number, struct svc_req *request)
{
    static filling result;
    free(result.filling_val);
    result.filling_len = number;
    result.filling_val = calloc(number + 1, 1);
    return &result;
}

u_int *count_1_svc(struct svc_req *request)
{
    static u_int count;
    count++;
    return &count;
}

int main(int count, char **arguments)
{
    int is_tcp = !strcmp(arguments[1], "tcp"), sock = socket(AF_INET, is_tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof own;
    if (bind(sock, (struct sockaddr *)&own, size) || getsockname(sock, (struct sockaddr *)&own, &size))
        return 1;
    if (is_tcp && listen(sock, 16))
        return 1;
    SVCXPRT *transport = is_tcp ? svctcp_create(sock, 0, 0) : svcudp_create(sock);
    if (!transport || !svc_register(transport, CALCULATOR, CALCULATOR_1, calculator_1, 0))
        return 1;
#ifdef GSS
    OM_uint32 status;
    gss_name_t name;
    gss_buffer_desc text = {strlen("calc@localhost"), "calc@localhost"};
    if (gss_import_name(&status, &text, GSS_C_NT_HOSTBASED_SERVICE, &name) || !svcauth_gss_set_svc_name(name))
        return 1;
#endif
    printf("%d\n", ntohs(own.sin_port));
    fflush(stdout);
    svc_run();
    return 1;
}
