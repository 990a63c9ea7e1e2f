from handlers.datagrams import *
