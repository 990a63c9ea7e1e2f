from handlers.sunrpc import *
