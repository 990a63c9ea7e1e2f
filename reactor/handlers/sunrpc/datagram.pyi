from handlers.sunrpc.datagram import *
