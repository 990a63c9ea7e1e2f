from handlers.blocking.face import *
