from handlers.http.wsgi import *
