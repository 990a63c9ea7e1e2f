from handlers.sunrpc.auth import *
