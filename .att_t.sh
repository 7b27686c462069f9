cd /tmp; cp /memwatch/.att_loop.py loop.py
PY=/venv/3.15/bin/python
$PY loop.py >out 2>err & P=$!
sleep 1
for i in 1 2; do timeout 30 $PY -m memwatch_core.cli attach $P --watch __main__:config --for 0.3 2>&1 | cut -c1-100 > log; head -4 log; tail -3 log; done
cat out err
PYTHON_DISABLE_REMOTE_DEBUG=1 $PY loop.py > out & Q=$!
sleep 1; timeout 30 $PY -m memwatch_core.cli attach $Q --watch __main__:config --for 0.3
$PY -c "
import threading; e=threading.Event(); e.wait()" & R=$!
sleep 1; timeout 30 $PY -m memwatch_core.cli attach $R --wait 3 --watch __main__:config --for 0.3
kill $P $Q $R
