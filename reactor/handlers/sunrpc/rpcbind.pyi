from handlers.sunrpc.rpcbind import *
