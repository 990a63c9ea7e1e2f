from handlers.http.conditions import *
