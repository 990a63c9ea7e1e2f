from handlers.auth import *
