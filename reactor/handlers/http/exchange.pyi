from handlers.http.exchange import *
