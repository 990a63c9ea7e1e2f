from handlers.sunrpc.registering import *
