import time,sys
config={"debug":False,"n":0}
class Order:
    total=0
def tick():
    config["n"]+=1
def main():
    print("ready",flush=True)
    while True:
        time.sleep(0.02); tick()
main()
