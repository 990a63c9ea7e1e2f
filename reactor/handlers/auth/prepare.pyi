from handlers.auth.prepare import *
