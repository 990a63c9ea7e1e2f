/* A client of calculator.x on libtirpc: its arguments are tcp or udp, and a port of 127.0.0.1. Says each result.
   Compiled with GSS, a third argument is the service of RPCSEC_GSS. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rpc/rpc.h>
#ifdef GSS
#include <gssapi/gssapi_krb5.h>
#include <rpc/auth_gss.h>
static int service;
#endif
#include "calculator.h"

static CLIENT *client;

static void failed(const char *what)
{
    struct rpc_err error;
    clnt_geterr(client, &error);
    printf("%s failed %d", what, error.re_status);
    if (error.re_status == RPC_PROGVERSMISMATCH)
        printf(" %u %u", (unsigned)error.re_vers.low, (unsigned)error.re_vers.high);
    if (error.re_status == RPC_AUTHERROR)
        printf(" %d", error.re_why);
    printf("\n");
}

static CLIENT *connected(const char *transport, struct sockaddr_in *to, unsigned program, unsigned version)
{
#ifdef GSS
    if (client)
        auth_destroy(client->cl_auth); /* which destroys the context */
#endif
    if (client)
        clnt_destroy(client); /* a server in plain mode has one connection at a time */
    struct timeval wait = {2, 0};
    int sock = RPC_ANYSOCK;
    CLIENT *made = strcmp(transport, "tcp") ? clntudp_create(to, program, version, wait, &sock)
                                            : clnttcp_create(to, program, version, &sock, 0, 0);
    if (!made) {
        clnt_pcreateerror("create");
        exit(1);
    }
#ifdef GSS
    struct rpc_gss_sec how = {(gss_OID)gss_mech_krb5, GSS_C_QOP_DEFAULT, service, GSS_C_NO_CREDENTIAL, GSS_C_MUTUAL_FLAG};
    made->cl_auth = authgss_create_default(made, "calc@localhost", &how);
    if (!made->cl_auth) {
        printf("no context for program %x version %u\n", program, version);
        made->cl_auth = authnone_create();
    }
#endif
    return made;
}

int main(int count, char **arguments)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[2]))};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
#ifdef GSS
    service = atoi(arguments[3]);
#endif
    client = connected(arguments[1], &to, CALCULATOR, CALCULATOR_1);
    if (nothing_1(client))
        printf("NOTHING\n");
    int *sum = add_1(2, -5, client);
    printf("ADD %d\n", sum ? *sum : 0);
    text given = {"ab", 3}, *repeated = repeat_1(given, client);
    printf("REPEAT %s %u\n", repeated ? repeated->value : "", repeated ? repeated->times : 0);
    int *later = later_1(20, client);
    printf("LATER %d\n", later ? *later : 0);
    filling *filled = fill_1(strcmp(arguments[1], "tcp") ? 7000 : 1000000, client);
    printf("FILL %u\n", filled ? filled->filling_len : 0);
    u_int *uid = uid_1(client);
    if (uid)
        printf("UID %u\n", *uid);
    else
        failed("UID");
    AUTH *none = client->cl_auth;
    client->cl_auth = authunix_create("host", 501, 20, 0, NULL);
    uid = uid_1(client);
    printf("UID %u\n", uid ? *uid : 0);
    client->cl_auth = none;
    if (!fail_1(0, client))
        failed("FAIL");
    if (!undefined_1(0, client))
        failed("UNDEFINED");
    client = connected(arguments[1], &to, CALCULATOR, CALCULATOR_3);
    quad_t *big = add_3(1LL << 40, 1, client);
    printf("ADD %lld\n", big ? (long long)*big : 0);
    client = connected(arguments[1], &to, CALCULATOR, 2);
    if (!add_1(1, 2, client))
        failed("version 2");
    client = connected(arguments[1], &to, 0x20000199, 1);
    if (!add_1(1, 2, client))
        failed("program");
    return 0;
}
