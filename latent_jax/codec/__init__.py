"""Files made smaller and given back; texts as rows of ids, made beforehand."""
