from handlers.sunrpc.language.names import *
