from handlers.auth.store import *
