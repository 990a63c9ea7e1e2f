from handlers.sunrpc.xdr.packer import *
