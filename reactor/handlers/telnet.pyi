from handlers.telnet import *
