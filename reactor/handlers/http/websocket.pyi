from handlers.http.websocket import *
