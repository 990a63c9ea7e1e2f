from handlers.sunrpc.language.words import *
