from handlers.http.handler import *
