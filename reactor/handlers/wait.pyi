from handlers.wait import *
