from handlers.waits import *
