from handlers.auth.unix import *
