from handlers.connected import *
