from handlers.sunrpc.client import *
