from handlers.auth.sasl import *
