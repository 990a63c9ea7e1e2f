from handlers.sunrpc.language.errors import *
