from handlers.http.framing import *
