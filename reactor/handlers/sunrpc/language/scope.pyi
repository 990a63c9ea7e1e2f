from handlers.sunrpc.language.scope import *
