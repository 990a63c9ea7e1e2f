from handlers.http.message import *
