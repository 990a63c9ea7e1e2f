from handlers.http.files import *
